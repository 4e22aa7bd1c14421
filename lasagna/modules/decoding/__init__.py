"""How an assistant writes its answer: ordered, free, in conversations and over long lists."""
