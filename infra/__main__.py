from livekit_platform.platform import deploy

deploy()
