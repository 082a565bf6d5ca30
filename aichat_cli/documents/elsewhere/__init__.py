"""Vectors of collections that are searched elsewhere: at Pinecone, or in the store of another package."""
