//! The house: the dramatis binary, configuration, wiring, lifecycle, HTTP and the command line.
