//! lb-benches
