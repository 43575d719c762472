// A client of talk groups in a page, for bench/mouth_to_ear.py: `openTalk`, `press`, `letGo`; `onsets` in s since 1970.
'use strict';

window.onsets = {mouth: [], ear: []};

const DETECTOR = `
registerProcessor('onsets', class extends AudioWorkletProcessor {
  quiet = 0;
  process([input]) {
    let loudest = 0;
    for (const channel of input ?? []) for (const one of channel) loudest = Math.max(loudest, Math.abs(one));
    if (loudest < 0.05) this.quiet += 1;
    else {
      if (this.quiet > 30) this.port.postMessage(Date.now() / 1000);  // 80 ms of silence before it
      this.quiet = 0;
    }
    return true;
  }
});`;

window.openTalk = async (token, group) => {
  const context = window.context = new AudioContext({sampleRate: 48000, latencyHint: 'interactive'});
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([DETECTOR], {type: 'text/javascript'})));
  const detector = (name) => {
    const node = new AudioWorkletNode(context, 'onsets', {numberOfInputs: 1, numberOfOutputs: 1});
    node.port.onmessage = ({data}) => onsets[name].push(data);
    node.connect(context.destination);  // what leads nowhere is not processed
    return node;
  };
  const mouth = detector('mouth'), ear = detector('ear');
  const stream = await navigator.mediaDevices.getUserMedia(
    {audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1}});
  context.createMediaStreamSource(stream).connect(mouth);

  const socket = new WebSocket('wss://' + location.host + '/ws'), waiting = new Map();
  let number = 0;
  window.command = (type, fields) => new Promise((resolve, reject) => {
    const id = 'c' + ++number;
    waiting.set(id, (reply) => reply.ok ? resolve(reply.result) : reject(new Error(JSON.stringify(reply.error))));
    socket.send(JSON.stringify({type, id, ...fields}));
  });
  window.alive = () => socket.send(JSON.stringify({type: 'floor.alive'}));
  await new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify(
      {type: 'hello', schema: 1, client: crypto.randomUUID(), token, rev: 0, want: ['group', 'floor']}));
    socket.onclose = () => reject(new Error('the WebSocket closed'));
    socket.onmessage = ({data}) => {
      const message = JSON.parse(data);
      if (message.type === 'snapshot') resolve();
      if (message.type === 'goodbye') reject(new Error(message.reason));
      if (message.type === 'reply') waiting.get(message.id)?.(message);
    };
  });
  setInterval(() => socket.send(JSON.stringify({type: 'ping', t: 0})), 2000);

  const peer = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
  const microphone = peer.addTransceiver(stream.getAudioTracks()[0],
    {direction: 'sendonly', sendEncodings: [{active: false}]});
  for (let slot = 0; slot < 8; slot++) peer.addTransceiver('audio', {direction: 'recvonly'});
  peer.ontrack = ({track}) => {
    const player = document.createElement('audio'), heard = new MediaStream([track]);
    player.muted = true;  // a remote track is decoded only while something plays it
    player.srcObject = heard;
    player.play();
    document.body.append(player);
    context.createMediaStreamSource(heard).connect(ear);
  };
  await peer.setLocalDescription();
  const answer = await command('media.offer', {kind: 'voice', sdp: peer.localDescription.sdp});
  await peer.setRemoteDescription({type: 'answer', sdp: answer.sdp});
  await new Promise((resolve) => {
    const look = () => { if (peer.connectionState === 'connected') resolve(); };
    peer.onconnectionstatechange = look;
    look();
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await command('group.tune', {listening: [group], selected: [group]});
  window.setActive = async (active) => {
    const parameters = microphone.sender.getParameters();
    parameters.encodings[0].active = active;
    await microphone.sender.setParameters(parameters);
  };
};

window.press = async (group) => {
  setActive(true);
  window.held = setInterval(alive, 200);
  alive();
  const {answers} = await command('floor.request', {groups: [group], urgency: 'normal'});
  return answers[0].state;
};

window.letGo = async () => {
  clearInterval(held);
  await command('floor.release', {groups: []});
  await setActive(false);
};
0;
