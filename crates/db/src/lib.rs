//! Open, migrate and transact: the two databases.
