package spine

// Every stream and subject of the house, in one place.
const (
	callsStream   = "calls" // asynchronous calls that were accepted
	callsSubject  = "calls."
	callsConsumer = "invoke"

	meterStream  = "meter" // batches of metering records
	meterSubject = "meter.batch"

	bucketPrefix = "mayfly-" // key/value buckets
)

// Buckets of the house.
const (
	FunctionsBucket = "functions"
	EndpointsBucket = "endpoints" // function URLs and HTTP APIs
)
