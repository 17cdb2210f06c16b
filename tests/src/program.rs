//! Instructions and stack of a program.
