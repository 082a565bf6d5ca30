"""Vectors of collections in an index at Pinecone."""
