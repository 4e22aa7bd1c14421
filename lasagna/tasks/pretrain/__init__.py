"""Pretraining of the tiny parts; every weight in the package is made here."""
