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
		KeptGBSecond:  4_166_700,      // $0.0000041667
		KeptRunSecond: 9_722_200,      // $0.0000097222
		ServerGBHour:  10_400_000_000, // t3.small, 2 GB on demand: $0.0208
		Currency:      "USD",
		AsOf:          "2025-08",
		Source:        "https://aws.amazon.com/lambda/pricing/",
	}
	if arch == "arm64" {
		p.Name = "AWS Lambda, us-east-1, Arm"
		p.GBSecond = 13_333_400        // $0.0000133334
		p.KeptGBSecond = 3_333_400     // $0.0000033334
		p.KeptRunSecond = 7_777_800    // $0.0000077778
		p.ServerGBHour = 8_400_000_000 // t4g.small, 2 GB on demand: $0.0168
	}
	return p
}
