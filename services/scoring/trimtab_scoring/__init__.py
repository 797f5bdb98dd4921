"""The scoring service: scoring engines behind Watcher's interface and the Open Inference Protocol."""
