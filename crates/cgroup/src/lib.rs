//! Control groups, version 2 first, hybrid and version 1 too.
