// One end of a call: it sends the camera and the microphone, takes in all that others send, and tells
// from WebRTC's own statistics which way that goes.
"use strict";

const connections = [];

// The library keeps its connections to itself.
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) {
    super(...given);
    connections.push(this);
  }
};

let room = null;

/** Join, by all candidates or relay only. Rejects with the library's error where that fails. */
async function enter(url, token, transport) {
  room = new LivekitClient.Room();
  room.on(LivekitClient.RoomEvent.TrackSubscribed, (track) => document.body.append(track.attach()));
  await room.connect(url, token, { rtcConfig: { iceTransportPolicy: transport }, maxRetries: 0 });
}

/** Send the camera and the microphone. Rejects where that fails, as it does without the permission. */
async function publish() {
  await room.localParticipant.enableCameraAndMicrophone();
}

/** Let the library restart the connection in one of its ways, and wait until it is back. */
async function restart(scenario) {
  const back = new Promise((resolve) => room.once(LivekitClient.RoomEvent.Reconnected, resolve));
  await room.simulateScenario(scenario);
  await back;
}

/** Pictures decoded so far, of all that others send. */
async function framesDecoded() {
  let frames = 0;
  for (const report of await reports()) {
    for (const item of report.values()) {
      if (item.type === "inbound-rtp" && item.kind === "video") frames += item.framesDecoded;
    }
  }
  return frames;
}

/** The pair of candidates that each connection has selected, in the words of `loadtest.client.path`. */
async function selectedPaths() {
  const paths = [];
  for (const report of await reports()) {
    const items = [...report.values()];
    for (const transport of items.filter((item) => item.type === "transport")) {
      const pair = report.get(transport.selectedCandidatePairId);
      if (!pair) continue;
      const sends = items.some((item) => item.type === "outbound-rtp");
      paths.push({
        connection: sends ? "publisher" : "subscriber",
        local: candidate(report.get(pair.localCandidateId)),
        remote: candidate(report.get(pair.remoteCandidateId)),
        bytes_sent: transport.bytesSent,
        bytes_received: transport.bytesReceived,
        round_trip_ms: (pair.currentRoundTripTime ?? 0) * 1000,
      });
    }
  }
  return paths;
}

function reports() {
  return Promise.all(connections.map((connection) => connection.getStats()));
}

function candidate(found) {
  return {
    type: found.candidateType,
    protocol: found.protocol,
    relay_protocol: found.relayProtocol ?? "",
    address: found.address ?? "",
    port: found.port,
    server_url: found.url ?? "",
  };
}
