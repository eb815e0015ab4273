"""What people would glue together instead: one server a file, each run in a virtual environment of its own."""
