"""Ways to adapt a backbone to a scene, one recipe a file; the file's name is the recipe's name."""
