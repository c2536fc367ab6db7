"""What the service does, a module for each subject. Who calls by HTTP, and how, is not known here."""
