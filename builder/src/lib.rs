//! Dockerfile to layers: parser, plan, solver, executor.
