"""The HTTP service: predictions out, labels in; knows nothing of training or of the learner."""
