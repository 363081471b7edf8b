// Every call path of the Node clients against one server; prints {path: what was heard} as JSON.
// usage: node calls.mjs URL AUDIO_FILE STEREO_FILE

import fs from "node:fs";
import { createAzure } from "@ai-sdk/azure";
import { createDeepgram } from "@ai-sdk/deepgram";
import { createGroq } from "@ai-sdk/groq";
import { createOpenAI } from "@ai-sdk/openai";
import { DeepgramClient } from "@deepgram/sdk";
import { OpenRouter } from "@openrouter/sdk";
import { experimental_transcribe as transcribe } from "ai";
import Groq from "groq-sdk";
import speech from "microsoft-cognitiveservices-speech-sdk";
import OpenAI, { AzureOpenAI, toFile } from "openai";

const [url, path, stereo] = process.argv.slice(2);
const audio = fs.readFileSync(path);
const apiKey = "any";
const model = "whisper-1";
const groqModel = "whisper-large-v3-turbo";

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const azure = new AzureOpenAI({
  endpoint: url,
  apiKey,
  apiVersion: "2024-10-21",
  deployment: "whisper",
  maxRetries: 0,
});
const groq = new Groq({ baseURL: url, apiKey, maxRetries: 0 });
const ws = url.replace("http", "ws");
const deepgram = new DeepgramClient({
  apiKey,
  environment: { base: url, production: ws, agent: ws, agentRest: url },
  maxRetries: 0,
});
const listen = (file, more) =>
  deepgram.listen.v1.media.transcribeFile(file, { model: "whisper", ...more });
const texts = (answer) => answer.results.channels.map((one) => one.alternatives[0].transcript);
const router = new OpenRouter({
  serverURL: `${url}/api/v1`,
  apiKey,
  retryConfig: { strategy: "none" },
});
const base64 = (more) =>
  router.stt.createTranscription({
    sttRequest: {
      model: "openai/whisper-1",
      inputAudio: { data: audio.toString("base64"), format: "wav" },
      ...more,
    },
  });
const ask = (more) =>
  openai.audio.transcriptions.create({ file: fs.createReadStream(path), model, ...more });
const recogniser = (config) =>
  new speech.SpeechRecognizer(config, speech.AudioConfig.fromWavFileInput(audio));
const routed = (error) =>
  `${error.constructor.name} ${error.error.code} ${error.error.metadata.field}`;
const name = (error) => `${error.constructor.name} ${error.status} ${error.code} ${error.param}`;

const calls = {
  "openai: fs.ReadStream": async () => (await ask()).text,
  "openai: File": async () =>
    (await ask({ file: new File([audio], "speech.wav", { type: "audio/wav" }) })).text,
  "openai: toFile(Buffer)": async () => (await ask({ file: await toFile(audio) })).text,
  "openai: text": async () => ask({ response_format: "text" }),
  "openai: srt": async () => ask({ response_format: "srt" }),
  "openai: vtt": async () => ask({ response_format: "vtt" }),
  "openai: verbose_json, words and segments": async () => {
    const answer = await ask({
      response_format: "verbose_json",
      timestamp_granularities: ["word", "segment"],
    });
    return `${answer.language}: ${answer.segments.length} ${answer.words.map((w) => w.word)}`;
  },
  "openai: logprobs": async () =>
    (await ask({ include: ["logprobs"] })).logprobs.map((one) => one.token).join(""),
  "openai: chunking_strategy": async () =>
    (await ask({ chunking_strategy: { type: "server_vad", threshold: 0.4 } })).text,
  "openai: stream": async () => {
    const types = new Set();
    let text = "";
    for await (const event of await ask({ stream: true })) {
      types.add(event.type);
      text += event.delta ?? "";
      if (event.type === "transcript.text.done" && event.text !== text) throw new Error(text);
    }
    return `${text} ${[...types]}`;
  },
  "openai: models.list": async () => (await openai.models.list()).data.map((one) => one.id).join(),
  "openai: models.retrieve": async () => (await openai.models.retrieve("openai/whisper-1")).id,
  "openai: unknown model": async () => ask({ model: "no-such" }).catch(name),
  "openai: wrong parameter": async () => ask({ temperature: 7 }).catch(name),
  "azure: deployment": async () =>
    (await azure.audio.transcriptions.create({ file: await toFile(audio), model: "whisper" })).text,
  "groq: json": async () =>
    (await groq.audio.transcriptions.create({ file: fs.createReadStream(path), model: groqModel }))
      .text,
  "groq: verbose_json": async () =>
    (
      await groq.audio.transcriptions.create({
        file: fs.createReadStream(path),
        model: groqModel,
        response_format: "verbose_json",
      })
    ).segments
      .map((one) => one.text)
      .join(""),
  "ai: openai": async () => {
    const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey });
    const answer = await transcribe({
      model: provider.transcription(model),
      audio,
      providerOptions: { openai: { timestampGranularities: ["segment"] } },
    });
    return `${answer.language} ${answer.segments.length} ${answer.text}`;
  },
  "ai: openai, gpt-4o-transcribe": async () => {
    const provider = createOpenAI({ baseURL: `${url}/v1`, apiKey });
    return (await transcribe({ model: provider.transcription("gpt-4o-transcribe"), audio })).text;
  },
  "ai: azure": async () => {
    const provider = createAzure({ baseURL: `${url}/openai`, apiKey, apiVersion: "2024-10-21" });
    return (await transcribe({ model: provider.transcription("whisper-1"), audio })).text;
  },
  "ai: azure, deployment": async () => {
    const provider = createAzure({
      baseURL: `${url}/openai`,
      apiKey,
      apiVersion: "2024-10-21",
      useDeploymentBasedUrls: true,
    });
    return (await transcribe({ model: provider.transcription("whisper-1"), audio })).text;
  },
  "deepgram: fs.ReadStream": async () => texts(await listen(fs.createReadStream(path))).join(),
  "deepgram: Buffer": async () => texts(await listen(audio, { smart_format: true })).join(),
  "deepgram: utterances and paragraphs": async () => {
    const { results } = await listen(audio, { utterances: true, paragraphs: true });
    const { sentences } = results.channels[0].alternatives[0].paragraphs.paragraphs[0];
    return `${results.utterances.length} ${sentences[0].text}`;
  },
  "deepgram: multichannel": async () => {
    const file = fs.createReadStream(stereo);
    const answer = await listen(file, { multichannel: true, utterances: true });
    const order = answer.results.utterances.map((one) => one.channel);
    const said = texts(answer).map((text) => text.replace(/[.!]/g, "").toLowerCase());
    return `${said} ${order} ${answer.metadata.channels}`;
  },
  "deepgram: live": async () => {
    const socket = await deepgram.listen.v1.connect({
      model: "nova-3",
      language: "en",
      Authorization: `Token ${apiKey}`,
    });
    const finals = [];
    const ended = new Promise((close, failed) => {
      socket.on("message", (one) => one.is_final && finals.push(one.channel.alternatives[0].transcript));
      socket.on("close", close);
      socket.on("error", failed);
    });
    socket.connect();
    await socket.waitForOpen();
    socket.sendMedia(audio);
    socket.sendCloseStream({ type: "CloseStream" });
    await ended;
    return finals.join(" ");
  },
  "deepgram: not audio": async () =>
    listen(Buffer.from("not audio")).catch(
      (error) => `${error.constructor.name} ${error.statusCode} ${error.body.err_code}`,
    ),
  "ai: deepgram": async () => {
    // It has no option for another address.
    const there = (asked, init) => fetch(String(asked).replace("https://api.deepgram.com", url), init);
    const provider = createDeepgram({ apiKey, fetch: there });
    const answer = await transcribe({ model: provider.transcription("nova-3"), audio });
    return `${answer.segments.length} ${answer.text}`;
  },
  "ai: groq": async () => {
    const provider = createGroq({ baseURL: `${url}/openai/v1`, apiKey });
    return (await transcribe({ model: provider.transcription(groqModel), audio })).text;
  },
  "azure speech: once": async () => {
    const speaking = recogniser(speech.SpeechConfig.fromHost(new URL(ws), apiKey));
    const result = await new Promise((heard, failed) => {
      speaking.recognizeOnceAsync(heard, failed);
    });
    speaking.close();
    return result.text ?? result.errorDetails;
  },
  "azure speech: continuous": async () => {
    const endpoint = new URL(`${ws}/stt/speech/universal/v2`);
    const speaking = recogniser(speech.SpeechConfig.fromEndpoint(endpoint, apiKey));
    const results = [];
    speaking.recognized = (_, event) => results.push(event.result.text);
    await new Promise((stopped, failed) => {
      speaking.sessionStopped = stopped;
      speaking.startContinuousRecognitionAsync(undefined, failed);
    });
    speaking.close();
    return results.join(" ");
  },
  "openrouter: JSON": async () => (await base64({ sessionId: "s", temperature: 0 })).text,
  "openrouter: verbose_json, words and segments": async () => {
    const answer = await base64({
      responseFormat: "verbose_json",
      timestampGranularities: ["word", "segment"],
    });
    const words = answer.words.map((w) => w.word);
    return `${answer.usage.seconds}: ${answer.segments.length} ${words}`;
  },
  "openrouter: multipart": async () => {
    const requestBody = {
      model: "openai/whisper-1",
      file: new File([audio], "speech.wav"),
      responseFormat: "verbose_json",
      timestampGranularities: ["word", "segment"],
    };
    return (await router.stt.createTranscriptionMultipart({ requestBody })).words
      .map((one) => one.word)
      .join(" ");
  },
  "openrouter: unknown model": async () => base64({ model: "no/such" }).catch(routed),
  "openrouter: wrong parameter": async () => base64({ temperature: 7 }).catch(routed),
};

const heard = {};
for (const [path, call] of Object.entries(calls)) {
  heard[path] = await call().catch((error) => `FAILED ${error.stack}`);
}
console.log(JSON.stringify(heard));
