//! section-config
