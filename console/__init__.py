"""The console: the whole circle from a web page. Never imports torch, training, service or learner."""
