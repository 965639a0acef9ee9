//! What users read says what the program does.
