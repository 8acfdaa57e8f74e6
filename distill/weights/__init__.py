"""Networks in and out: files of ours, other libraries', ONNX, callables, the best so far."""
