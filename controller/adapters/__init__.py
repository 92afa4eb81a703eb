"""One outside system per file. Foreign errors are mapped to controller.errors here and nowhere else."""
