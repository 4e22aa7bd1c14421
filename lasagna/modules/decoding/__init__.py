"""How an assistant writes its answers: ordered, free, in conversations and over long lists."""
