module livekit-platform.local/tests/manifests

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/livekit/protocol v1.50.1
	github.com/livekit/storage v0.0.0-20260623170515-1297cb15775f
)
