//! A whole deployment under a seed: the code of every role, on simulated time, a simulated network and a model of NATS.
