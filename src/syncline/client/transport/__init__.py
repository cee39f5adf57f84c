"""How the device talks to the service: `http` (streams of NDJSON lines, write checkpoints). Other transports follow the same contract."""
