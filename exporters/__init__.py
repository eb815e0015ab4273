"""Members, transform and head become one ONNX graph, and parity with the original is proved before it is used."""
