"""What the methods of training.fuse work on, and the roads from registered versions or candidates to a fused one."""
