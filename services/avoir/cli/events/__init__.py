"""`avoir events`: publish lost events again."""
