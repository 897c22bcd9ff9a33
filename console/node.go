package console

func (c *Console) nodeRoutes() map[string]action {
	return map[string]action{
		"node": func(k *call) error {
			n, err := k.node()
			if err != nil {
				return err
			}
			return k.show("node", "Node", n)
		},
		"live/node": func(k *call) error { return k.live("node/now", func() (any, error) { return k.node() }) },
	}
}
