package apigatewayv2

import "reflect"

// merge sets the fields of dst from those of the same name in src that a request
// has given: what is nil, or an empty enum, is absent and stays as it is. Both
// are pointers to generated shapes, which have such fields only.
func merge(dst, src any) {
	to, from := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for i := range from.NumField() {
		given := from.Field(i)
		field := to.FieldByName(from.Type().Field(i).Name)
		if !field.IsValid() || given.IsZero() {
			continue
		}
		if given.Type().ConvertibleTo(field.Type()) { // Input shapes have types of their own for some members
			field.Set(given.Convert(field.Type()))
		}
	}
}
