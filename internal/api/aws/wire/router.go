package wire

type router struct{}
