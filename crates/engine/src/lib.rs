//! Behaviour and policy: containers, tasks, images, networks.
