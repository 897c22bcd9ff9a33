package admin

import "github.com/mayfly-dev/mayfly/internal/meter"

// ListPrices returns AWS Lambda's list prices in us-east-1 for a processor
// architecture in GOARCH spelling; arm64 has its own, all others get x86's.
func ListPrices(arch string) meter.PriceSheet {
	p := meter.PriceSheet{
		Name:          "AWS Lambda, us-east-1, x86",
		MillionCalls:  200_000_000_000, // $0.20
		GBSecond:      16_666_700,      // $0.0000166667
		StorageSecond: 30_900,          // $0.0000000309
		FreeStorageMB: 512,
		Currency:      "USD",
		AsOf:          "2025-08",
		Source:        "https://aws.amazon.com/lambda/pricing/",
	}
	if arch == "arm64" {
		p.Name = "AWS Lambda, us-east-1, Arm"
		p.GBSecond = 13_333_400 // $0.0000133334
	}
	return p
}
