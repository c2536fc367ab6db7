"""What is to run, on which links, and what must hold: scenarios and profiles, as their YAML says them."""
