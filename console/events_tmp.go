package console

func eventTemplates(string) []eventTemplate { return nil }
