"""Pulumi components: one typed args dataclass and one component per module. They decide nothing."""
