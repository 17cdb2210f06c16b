//! lb-lab
