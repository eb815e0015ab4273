"""Pages of the console, one a file; ``console.contract`` says what a file offers. A new file is a new page."""
