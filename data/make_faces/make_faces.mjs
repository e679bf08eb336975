// Draws data/faces.npz: 20,000 people in the style Open Peeps (artwork: Pablo Stanley, CC0), 32×32 pixels each.
//
// A person is an SVG put together from the style's heads, eyes, mouths, beards and glasses, turned, scaled and shifted
// at random. It is drawn at 128×128 with one flat colour for each part and no smoothing, so that every pixel says
// exactly which part it shows. Of the 4×4 small pixels in a pixel of the 32×32 image, the two most frequent parts and
// how many pixels the second has are kept; course_lib/datasets/faces.py mixes the person's colours accordingly, then
// adds light and texture. Only integers are stored, and the compressor is plain JavaScript: the same bytes everywhere.
//
// node make_faces.mjs [people] [file]
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createAvatar } from '@dicebear/core';
import { openPeeps } from '@dicebear/collection';
import { Resvg } from '@resvg/resvg-js';
import { zipSync } from 'fflate';

const PEOPLE = Number(process.argv[2] ?? 20_000), FILE = process.argv[3] ?? '../faces.npz';
const TEST = Math.round(PEOPLE / 10);            // the last tenth
const PART = 500;                                // people drawn by one process
const TURN = 8, SCALE = 0.1, SHIFT = 0.05;       // at most, either way: degrees; a share of the size; of the side
const ZOOM = 1.2, BIG = 128, SMALL = 32, CANVAS = 704;
const MIDDLE = [372, 405];                       // of an image that is not shifted, on the style's canvas

// --- what is drawn: the values of each attribute, in the order of course_lib/datasets/faces.py, and their drawings ---

const SMILES = ['smileLOL', 'smileLOL', 'smileLOL', 'smileBig', 'lovingGrin2'];
const OTHER_MOUTHS = ['serious', 'solemn', 'tired', 'suspicious', 'fear', 'veryAngry'];
const EYES = ['smile', 'driven', 'calm', 'contempt', 'concerned', 'suspicious', 'hectic', 'serious', 'solemn'];
const GLASSES = [[], ['glasses', 'glasses2', 'glasses3', 'glasses5'], ['sunglasses', 'sunglasses2']];
const BEARDS = [[], ['moustache2', 'moustache5', 'moustache6'], ['full', 'full2', 'full3', 'goatee2']];
const HEADS = [
  ['short1', 'short2', 'short5', 'pomp', 'shaved2', 'flatTop', 'short4', 'grayShort'],
  ['afro', 'dreads1', 'dreads2', 'twists'],
  ['long', 'longBangs', 'mediumStraight', 'bangs', 'bangs2', 'mediumBangs'],
  ['grayBun', 'bun2', 'buns'],
  ['noHair1', 'noHair2'],
  ['hatBeanie', 'turban', 'hatHip', 'hijab'],
];
const FELT = ['hatHip', 'hijab'], BARE = ['noHair1', 'noHair2'];    // black areas are a hat; are lines. Else: hair
const HAIR = [[0x1d, 0x15, 0x12], [0x7a, 0x4a, 0x21], [0xd1, 0x50, 0x1a], [0xf2, 0xc9, 0x4c], [0xb9, 0xba, 0xc4]];
const HIDDEN = HAIR.length;                      // the hair's colour where neither hair nor beard is to be seen
const SKIN = [[0xff, 0xdb, 0xb4], [0xed, 0xb9, 0x8a], [0xd0, 0x8b, 0x5b], [0xae, 0x5d, 0x29], [0x69, 0x4d, 0x3d]];
const CLOTHES = [[0xe0, 0x48, 0x3e], [0xf5, 0xc9, 0x3b], [0x3f, 0xae, 0x5a], [0x3b, 0x6f, 0xd4], [0x9a, 0x55, 0xc8],
  [0xf4, 0xf4, 0xf0]];
const INK = [0x15, 0x10, 0x0e], WHITE = [0xff, 0xff, 0xff];

// The parts, as they are stored. A line belongs to the part that it borders, so that masks have no thin seams.
const [BACKGROUND, SKIN_PART, HAIR_PART, HAT_PART, CLOTHES_PART, WHITE_PART, GLASSES_PART, FACE_LINE, HAIR_LINE,
  HAT_LINE, CLOTHES_LINE] = Array(11).keys();
const LINE_OF = { [SKIN_PART]: FACE_LINE, [WHITE_PART]: FACE_LINE, [FACE_LINE]: FACE_LINE, [HAIR_PART]: HAIR_LINE,
  [HAT_PART]: HAT_LINE, [CLOTHES_PART]: CLOTHES_LINE, [GLASSES_PART]: FACE_LINE };
const HEAD_INK = 11;                             // lines and black areas of the head, told apart after drawing
const flat = (part) => `#${(part * 16 + 8).toString(16).padStart(2, '0').repeat(3)}`;

// --- random numbers: mulberry32, integers only -----------------------------------------------------------------------

const SEED = 20_261;
let state = SEED;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];
const around = (spread) => (2 * random() - 1) * spread;
const shade = (colour, by) => colour.map((c) => Math.max(0, Math.min(255, c + Math.round(around(by)))));

// --- the style's drawings, by name -----------------------------------------------------------------------------------

const PLACES = {                                 // in the style's canvas, in the style's order
  head: 'matrix(.99789 0 0 1 156 62)', face: 'translate(315 248)', facialHair: 'translate(279 400)',
  mask: 'translate(179 343)', accessories: 'translate(203 303)',
};
const known = new Map();

/** The SVG of one drawing: skin, clothing and contrast colours are #0000aa, #00aa00 and #aa0000 in it. */
function drawing(kind, name = 'only') {
  const key = `${kind} ${name}`;
  if (!known.has(key)) {
    const svg = createAvatar(openPeeps, {
      seed: 'any', head: ['noHair1'], face: ['smile'], [kind]: [name], maskProbability: 0,
      facialHairProbability: kind === 'facialHair' ? 100 : 0, accessoriesProbability: kind === 'accessories' ? 100 : 0,
      skinColor: ['0000aa'], clothingColor: ['00aa00'], headContrastColor: ['aa0000'],
    }).toString();
    const starts = Object.entries(PLACES).map(([part, place]) => [part, svg.indexOf(`<g transform="${place}">`)]);
    const ends = [...starts.slice(1).map(([, at]) => at), svg.lastIndexOf('</g></g>') + 4];
    if (starts.some(([, at]) => at < 0)) throw new Error('the style has another order: is @dicebear/collection 9.4.3?');
    known.set('body only', svg.slice(svg.indexOf('<g fill-rule'), starts[0][1]));
    const piece = (part) => starts.findIndex(([other]) => other === part);
    if (kind !== 'body') {
      const whole = svg.slice(starts[piece(kind)][1], ends[piece(kind)]);
      known.set(key, whole.replace(/^<g transform="[^"]*">(.*)<\/g>$/s, '$1'));
    }
  }
  return known.get(key);
}

/** A drawing in flat colours: ``[[colour, part], …]``, with a part's number for each colour of the style. */
const painted = (svg, colours) => colours.reduce((s, [from, to]) => s.replaceAll(`fill="${from}"`, to), svg);
const fill = (part, line = part, width = 0) => `fill="${flat(part)}" stroke="${flat(line)}" stroke-width="${width}"`;

function picture(p) {
  const body = painted(drawing('body'), [['#0000aa', fill(SKIN_PART)], ['#00aa00', fill(CLOTHES_PART)],
    ['#000', fill(CLOTHES_LINE)]]);
  const head = painted(drawing('head', p.head), [['#0000aa', fill(SKIN_PART)], ['#00aa00', fill(HAT_PART)],
    ['#aa0000', fill(HAIR_PART)], ['#fff', fill(SKIN_PART)], ['#000', fill(HEAD_INK)]]);
  const beard = p.beard && painted(drawing('facialHair', p.beard), [['#000', fill(HAIR_PART, FACE_LINE, 7)]]);
  const face = (name, width) => painted(drawing('face', name), [['#fff', fill(WHITE_PART)],
    ['#000', fill(FACE_LINE, FACE_LINE, width)]]);
  const glasses = p.glasses && painted(drawing('accessories', p.glasses),
    [['#000', fill(GLASSES_PART, GLASSES_PART, 8)]]);
  const pose = `${p.left ? `translate(${CANVAS} 0) scale(-1 1) ` : ''}translate(${p.x.toFixed(3)} ${p.y.toFixed(3)}) ` +
    `rotate(${p.turn.toFixed(3)}) scale(${(ZOOM * p.scale).toFixed(4)}) translate(${-MIDDLE[0]} ${-MIDDLE[1]})`;
  // Eyes and nose lie above y = 188 of a face's drawing, the mouth below: so any eyes go with any mouth. (The tears of
  // smileLOL hang down on both sides of its mouth.)
  const mouth = p.mouth === 'smileLOL' ? 'M90 188H222V399H90Z' : 'M0 188H260V399H0Z';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${CANVAS} ${CANVAS}" shape-rendering="crispEdges">
    <clipPath id="eyes"><path d="M-99 -99H399V188H-99Z"/></clipPath><clipPath id="mouth"><path d="${mouth}"/></clipPath>
    <rect width="${CANVAS}" height="${CANVAS}" fill="${flat(BACKGROUND)}"/>
    <g transform="${pose}" fill="none" fill-rule="evenodd" clip-rule="evenodd">${body}
      <g transform="${PLACES.head}">${head}</g>
      <g transform="${PLACES.facialHair}">${beard}</g>
      <g transform="${PLACES.face}"><g clip-path="url(#eyes)">${face(p.eyes, 3)}</g>
        <g transform="translate(120 215) scale(1.25) translate(-120 -215)">
          <g clip-path="url(#mouth)">${face(p.mouth, p.smiles ? 0 : 4)}</g></g></g>
      <g transform="${PLACES.accessories}">${glasses}</g></g></svg>`;
}

// --- from a drawing to parts -----------------------------------------------------------------------------------------

function parts(p) {
  const options = { fitTo: { mode: 'width', value: BIG }, font: { loadSystemFonts: false } };
  const { pixels } = new Resvg(picture(p), options).render();
  const big = new Uint8Array(BIG * BIG);
  for (let i = 0; i < big.length; i++) big[i] = (pixels[4 * i] - 8) / 16;
  splitInk(big, FELT.includes(p.head) ? HAT_PART : BARE.includes(p.head) ? FACE_LINE : HAIR_PART);
  return big;
}

/** Black areas of the head that are wider than a line become hair (or hat); lines go to what they border. */
function splitInk(big, area) {
  const ink = big.map((part) => Number(part === HEAD_INK));
  const wide = widened(narrowed(ink, 3), 5);     // an opening, and two pixels more to get the corners back
  const queue = [];
  for (let i = 0; i < big.length; i++) {
    if (ink[i] && wide[i]) big[i] = area;
    if (big[i] !== HEAD_INK && big[i] !== BACKGROUND) queue.push(i);
  }
  for (let next = 0; next < queue.length; next++) {                 // breadth first: a line goes to the nearest part
    const i = queue[next], x = i % BIG, y = (i - x) / BIG;
    for (const [j, inside] of [[i - 1, x > 0], [i + 1, x < BIG - 1], [i - BIG, y > 0], [i + BIG, y < BIG - 1]]) {
      if (inside && big[j] === HEAD_INK) {
        big[j] = LINE_OF[big[i]] ?? big[i];      // a line's own code is passed on
        queue.push(j);
      }
    }
  }
  for (let i = 0; i < big.length; i++) if (big[i] === HEAD_INK) big[i] = FACE_LINE;
}

const narrowed = (mask, radius) => spread(mask, radius, 0);
const widened = (mask, radius) => spread(mask, radius, 1);
/** Every pixel takes ``value`` if a pixel with that value lies within the square of this radius around it. */
function spread(mask, radius, value) {
  for (const step of [1, BIG]) {                 // along rows, then along columns
    const from = mask;
    mask = from.slice();
    for (let i = 0; i < mask.length; i++) {
      if (from[i] !== value) continue;
      const at = step === 1 ? i % BIG : (i - (i % BIG)) / BIG;
      for (let d = Math.max(-radius, -at); d <= Math.min(radius, BIG - 1 - at); d++) mask[i + d * step] = value;
    }
  }
  return mask;
}

/** For each small pixel its two most frequent parts, 16 · first + second, and how many of 16 are the second's. */
function shrunk(big) {
  const two = new Uint8Array(SMALL * SMALL), mix = new Uint8Array(SMALL * SMALL), k = BIG / SMALL;
  for (let i = 0; i < two.length; i++) {
    const count = new Uint8Array(16), x = (i % SMALL) * k, y = Math.floor(i / SMALL) * k;
    for (let dy = 0; dy < k; dy++) for (let dx = 0; dx < k; dx++) count[big[(y + dy) * BIG + x + dx]]++;
    let first = 0, second = -1;
    for (let part = 1; part < 16; part++) if (count[part] > count[first]) first = part;
    for (let part = 0; part < 16; part++) if (part !== first && count[part] > (count[second] ?? 0)) second = part;
    if (second < 0) second = first;
    two[i] = first * 16 + second;
    mix[i] = first === second ? 0 : Math.round((16 * count[second]) / (count[first] + count[second]));
  }
  return [two, mix];
}

// --- the people ------------------------------------------------------------------------------------------------------

/** Whether a point of the style's canvas lands in the image, and not at its very edge. */
function isInside(p, x, y) {
  const a = (p.turn * Math.PI) / 180, s = ZOOM * p.scale, dx = x - MIDDLE[0], dy = y - MIDDLE[1];
  const at = [p.x + s * (dx * Math.cos(a) - dy * Math.sin(a)), p.y + s * (dx * Math.sin(a) + dy * Math.cos(a))];
  return at.every((v) => v > 0.06 * CANVAS && v < 0.94 * CANVAS);
}

function person() {
  const p = { smiles: below(2), glassesKind: pick([0, 0, 0, 1, 1, 2]), beardKind: pick([0, 0, 0, 1, 2]), hair: below(6),
    hairColour: below(HAIR.length), skin: below(SKIN.length), clothes: below(CLOTHES.length), left: below(2) };
  const hat = pick(CLOTHES);
  p.head = pick(HEADS[p.hair]);
  p.eyes = pick(EYES);
  p.mouth = pick(p.smiles ? SMILES : OTHER_MOUTHS);
  p.glasses = p.glassesKind ? pick(GLASSES[p.glassesKind]) : '';
  p.beard = p.beardKind ? pick(BEARDS[p.beardKind]) : '';
  let counts, two, mix;
  do {                                           // a pose that shows eyes, mouth and clothes
    p.turn = around(TURN);
    p.scale = 1 + around(SCALE);
    [p.x, p.y] = [CANVAS * (0.5 + around(SHIFT)), CANVAS * (0.5 + around(SHIFT))];
    if (![[380, 345], [480, 345], [440, 465]].every(([x, y]) => isInside(p, x, y))) continue;
    [two, mix] = shrunk(parts(p));
    counts = new Uint16Array(16);
    for (const t of two) counts[t >> 4]++;
  } while (!counts || counts[CLOTHES_PART] < 20);
  if (counts[HAIR_PART] < 6 && !p.beard) p.hairColour = HIDDEN;
  const paper = [0, 1, 2].map(() => 150 + below(91));
  const palette = [paper, shade(SKIN[p.skin], 8), shade(HAIR[p.hairColour] ?? HAIR[0], 8), shade(hat, 10),
    shade(CLOTHES[p.clothes], 10), WHITE, INK, INK];
  return { two: [...two], mix: [...mix], palette: palette.flat(), draw: Array.from({ length: 8 }, () => below(256)),
    attributes: [p.smiles, p.glassesKind, p.beardKind, p.hair, p.hairColour, p.skin, p.clothes, p.left] };
}

/** A .npy file of bytes: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0. */
function npy(rows, shape) {
  let header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${[rows.length, ...shape].join(', ')}), }`;
  header = header.padEnd(64 * Math.ceil((header.length + 11) / 64) - 11) + '\n';
  const start = new Uint8Array(10 + header.length);
  start.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
  start.set(new TextEncoder().encode(header), 10);
  const size = shape.reduce((a, b) => a * b, 1), all = new Uint8Array(start.length + rows.length * size);
  all.set(start);
  rows.forEach((row, i) => all.set(row, start.length + i * size));
  return all;
}

if (process.argv[2] === '--from') {              // a part of the people, as JSON: the renderer gives no memory back
  const [from, to] = process.argv.slice(3).map(Number);
  const some = Array.from({ length: to - from }, (_, i) => {
    state = Math.imul(from + i + 1, 0x9e3779b1) ^ SEED;             // each person by itself: in any order, the same
    return person();
  });
  process.stdout.write(JSON.stringify(some));
} else {
  const starts = Array.from({ length: Math.ceil(PEOPLE / PART) }, (_, k) => k * PART), people = [];
  const work = async () => {
    for (let from = starts.shift(); from !== undefined; from = starts.shift()) {
      const span = [from, Math.min(from + PART, PEOPLE)].map(String);
      const me = fileURLToPath(import.meta.url);
      const { stdout } = await promisify(execFile)(process.execPath, [me, '--from', ...span], { maxBuffer: 2 ** 30 });
      JSON.parse(stdout).forEach((one, i) => { people[from + i] = one; });
      process.stderr.write(`\r${people.filter(Boolean).length} of ${PEOPLE} people drawn`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  process.stderr.write('\n');
  const files = {};
  for (const [split, some] of [['train', people.slice(0, PEOPLE - TEST)], ['test', people.slice(PEOPLE - TEST)]]) {
    for (const [name, shape] of [['two', [SMALL, SMALL]], ['mix', [SMALL, SMALL]], ['palette', [8, 3]], ['draw', [8]],
      ['attributes', [8]]]) {
      files[`${split}_${name}.npy`] = npy(some.map((one) => one[name]), shape);
    }
  }
  writeFileSync(FILE, zipSync(files, { level: 9, mtime: new Date(1980, 0, 1) }));
}
