"""From a file or page to text: one reader for each format, each bounded in time and memory."""
