"""How an assistant is trained."""
