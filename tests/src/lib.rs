//! lb-tests
