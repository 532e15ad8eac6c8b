"""`avoir status`: whether the service keeps up."""
