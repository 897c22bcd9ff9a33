package spine

// Every stream and subject of the house, in one place.
const (
	callsName   = "call"   // asynchronous calls that were accepted
	parcelsName = "parcel" // messages on their way to targets

	// Two streams for each work queue, after its name.
	itemsStream  = "-items"        // what is in it, in records
	itemsSubject = "items.record." // before the name
	endsStream   = "-ends"         // what was handled
	endsSubject  = "items.ends."   // before the name

	// Nodes of before kept each work queue in one stream, with a subject for each lane.
	oldCallsStream   = "calls"
	oldParcelsStream = "parcels"

	noticesStream   = "notices" // about objects, not yet delivered
	noticesSubject  = "notices.object"
	noticesConsumer = "deliver"

	meterStream  = "meter" // batches of metering records
	meterSubject = "meter.batch"

	changesStream  = "queue-changes" // what happened to the messages of queues
	changesSubject = "queuechanges.batch"

	logPrefix  = "log-" // a log for each queue
	logSubject = "log."

	bucketPrefix = "mayfly-" // key/value buckets
)

// Buckets of the house.
const (
	FunctionsBucket = "functions"
	EndpointsBucket = "endpoints" // function URLs and HTTP APIs
	QueuesBucket    = "queues"
	MovesBucket     = "queue-moves" // of messages out of dead-letter queues
	MappingsBucket  = "mappings"    // of event sources to functions
	BusesBucket     = "buses"       // event buses and their rules
	SchedulesBucket = "schedules"   // timers
	ClockBucket     = "clock"       // how far timers have fired
	BudgetsBucket   = "budgets"     // limits on what calls may cost
	NoticesBucket   = "notices"     // what is to be told of objects
)
