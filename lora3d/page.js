// The 3D viewers of a page that needs no network: one WebGL context draws every viewer in turn.
// A viewer shows a model that lies in the page as base64 GLB, laid out as lora3d writes it: one mesh without
// node transforms, float positions and texture coordinates, PNG textures. Without WebGL 2 or with a lost
// context the pictures stay. Viewers of one row share one camera: drag turns, wheel zooms once the viewer has
// the focus, arrows and + − do the same, a double click starts the turntable anew.
"use strict";
(() => {
  const FOV_DEG = 24, DISTANCE = 2.5, SPIN_DEG_PER_S = 24;
  const screen = document.createElement("canvas");
  const gl = screen.getContext("webgl2", { alpha: true, antialias: true });
  if (!gl) return;

  const VERTEX = `#version 300 es
    in vec3 position; in vec2 uv; in vec4 tint; in vec3 bent;
    uniform vec3 right, up, back; uniform float distance, lens;
    out vec3 at, lean; out vec2 st; out vec4 ink;
    void main() {
      lean = vec3(dot(right, bent), dot(up, bent), dot(back, bent));
      at = vec3(dot(right, position), dot(up, position), dot(back, position) - distance);
      st = uv; ink = tint;
      gl_Position = vec4(lens * at.xy, -1.002 * at.z - 0.1, -at.z);  // z: near 0.05, far 50
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 at, lean; in vec2 st; in vec4 ink;
    uniform sampler2D image; uniform vec4 base; uniform vec3 glow; uniform float cutoff, blend;
    out vec4 color;
    vec3 linear(vec3 c) { return mix(c / 12.92, pow((c + 0.055) / 1.055, vec3(2.4)), step(0.04045, c)); }
    vec3 srgb(vec3 c) { return mix(c * 12.92, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c)); }
    void main() {
      vec4 paint = texture(image, st);
      paint = vec4(linear(paint.rgb), paint.a) * base * ink;
      if (paint.a < cutoff) discard;
      vec3 normal = normalize(cross(dFdx(at), dFdy(at)));  // of the flat face, toward the viewer
      if (dot(lean, lean) > 0.01) normal = normalize(lean) * (dot(lean, normal) < 0.0 ? -1.0 : 1.0);
      float light = 0.62 + 0.40 * max(dot(normal, normalize(vec3(0.35, 0.65, 0.7))), 0.0);
      float alpha = mix(1.0, paint.a, blend);
      color = vec4(srgb(clamp(paint.rgb * light + glow, 0.0, 1.0)) * alpha, alpha);
    }`;

  function shader(kind, source) {
    const s = gl.createShader(kind);
    gl.shaderSource(s, source);
    gl.compileShader(s);
    return s;
  }
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
  ["position", "uv", "tint", "bent"].forEach((name, i) => gl.bindAttribLocation(program, i, name));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return;
  gl.useProgram(program);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const U = Object.fromEntries(
    ["right", "up", "back", "distance", "lens", "base", "glow", "cutoff", "blend"].map((n) => [n, uniform(n)]));

  // --- GLB -> buffers on the graphics card -------------------------------------------------------------
  const ARRAYS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
  const WIDTH = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };

  function bytesOf(id) {
    return Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  }

  async function load(id) {
    const glb = bytesOf(id).buffer, head = new DataView(glb);
    const jsonLength = head.getUint32(12, true), binary = 28 + jsonLength;
    const file = JSON.parse(new TextDecoder().decode(new Uint8Array(glb, 20, jsonLength)));
    const slice = (view) => {
      const v = file.bufferViews[view], from = binary + (v.byteOffset || 0);
      return glb.slice(from, from + v.byteLength);
    };
    const values = (accessor) => {
      const a = file.accessors[accessor];
      return new ARRAYS[a.componentType](slice(a.bufferView), a.byteOffset || 0, a.count * WIDTH[a.type]);
    };
    const textures = await Promise.all((file.textures || []).map(async (t) => {
      const image = file.images[t.source], sampler = (file.samplers || [])[t.sampler] || {};
      const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
      const blob = new Blob([slice(image.bufferView)], { type: image.mimeType });
      return texture(await createImageBitmap(blob, options), sampler);
    }));
    return file.meshes.flatMap((mesh) => mesh.primitives.map((p) => part(file, p, values, textures)));
  }

  function texture(image, sampler) {
    const t = gl.createTexture(), filter = sampler.magFilter || gl.LINEAR;
    gl.bindTexture(gl.TEXTURE_2D, t);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, sampler.wrapS || gl.REPEAT);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, sampler.wrapT || gl.REPEAT);
    return t;
  }
  const white = texture(new ImageData(new Uint8ClampedArray([255, 255, 255, 255]), 1, 1), {});

  function part(file, primitive, values, textures) {
    const vao = gl.createVertexArray();
    gl.bindVertexArray(vao);
    ["POSITION", "TEXCOORD_0", "COLOR_0", "NORMAL"].forEach((name, slot) => {
      const accessor = primitive.attributes[name];
      if (accessor === undefined) return;
      const a = file.accessors[accessor];
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values(accessor), gl.STATIC_DRAW);
      gl.enableVertexAttribArray(slot);
      gl.vertexAttribPointer(slot, WIDTH[a.type], a.componentType, !!a.normalized, 0, 0);
    });
    const indexed = primitive.indices !== undefined;
    const counter = file.accessors[indexed ? primitive.indices : primitive.attributes.POSITION];
    if (indexed) {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, values(primitive.indices), gl.STATIC_DRAW);
    }
    gl.bindVertexArray(null);
    const material = (file.materials || [])[primitive.material] || {}, pbr = material.pbrMetallicRoughness || {};
    const strength = ((material.extensions || {}).KHR_materials_emissive_strength || {}).emissiveStrength || 1;
    return {
      vao, indexed, count: counter.count, type: counter.componentType,
      image: pbr.baseColorTexture ? textures[pbr.baseColorTexture.index] : white,
      base: pbr.baseColorFactor || [1, 1, 1, 1],
      glow: (material.emissiveFactor || [0, 0, 0]).map((x) => x * strength),
      cutoff: material.alphaMode === "MASK" ? material.alphaCutoff ?? 0.5 : 0,
      blend: material.alphaMode === "BLEND" ? 1 : 0,
    };
  }

  // --- drawing -----------------------------------------------------------------------------------------
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function draw(viewer) {
    const { canvas, camera, parts } = viewer;
    const side = Math.round(canvas.clientWidth * Math.min(devicePixelRatio || 1, 2));
    if (!side) return;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    if (screen.width < side) screen.width = screen.height = side;
    const a = camera.azimuth * Math.PI / 180, e = camera.elevation * Math.PI / 180;
    const right = [Math.cos(a), 0, -Math.sin(a)];
    const back = [Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e)];
    const up = [-Math.sin(a) * Math.sin(e), Math.cos(e), -Math.cos(a) * Math.sin(e)];
    gl.viewport(0, 0, side, side);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniform3fv(U.right, right);
    gl.uniform3fv(U.up, up);
    gl.uniform3fv(U.back, back);
    gl.uniform1f(U.distance, DISTANCE / camera.zoom);
    gl.uniform1f(U.lens, 1 / Math.tan(FOV_DEG * Math.PI / 360));
    gl.vertexAttrib4f(2, 1, 1, 1, 1);
    for (const p of parts) {
      gl.bindVertexArray(p.vao);
      gl.bindTexture(gl.TEXTURE_2D, p.image);
      gl.uniform4fv(U.base, p.base);
      gl.uniform3fv(U.glow, p.glow);
      gl.uniform1f(U.cutoff, p.cutoff);
      gl.uniform1f(U.blend, p.blend);
      if (p.indexed) gl.drawElements(gl.TRIANGLES, p.count, p.type, 0);
      else gl.drawArrays(gl.TRIANGLES, 0, p.count);
    }
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, side, side);
    pen.drawImage(screen, 0, screen.height - side, side, side, 0, 0, side, side);
    viewer.figure.classList.add("live");
  }

  // --- viewers, rows and what people do to them --------------------------------------------------------
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const models = new Map();  // one load a model, however many viewers show it
  const viewers = [];
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const viewer = viewers.find((v) => v.figure === target);
      if (!isIntersecting) { seen.delete(viewer); continue; }
      seen.add(viewer);
      if (!models.has(viewer.model)) models.set(viewer.model, load(viewer.model));
      models.get(viewer.model).then((parts) => { viewer.parts = parts; viewer.camera.moved = true; });
    }
  }, { rootMargin: "200px" });

  for (const row of document.querySelectorAll(".row")) {
    const start = { azimuth: 25, elevation: 14, zoom: 1, spinning: !calm, moved: true };
    const camera = { ...start };
    for (const figure of row.querySelectorAll(".viewer")) {
      const viewer = { figure, camera, model: figure.dataset.model, canvas: figure.querySelector("canvas") };
      viewers.push(viewer);
      watch.observe(figure);
      steer(figure.querySelector(".stage"), camera, start);
    }
  }

  function steer(stage, camera, start) {
    const by = (azimuth, elevation, factor = 1) => {
      camera.azimuth += azimuth;
      camera.elevation = Math.max(-89, Math.min(89, camera.elevation + elevation));
      camera.zoom = Math.max(0.4, Math.min(5, camera.zoom * factor));
      camera.spinning = false;
      camera.moved = true;
    };
    stage.addEventListener("pointerdown", (event) => {
      stage.setPointerCapture(event.pointerId);
      by(0, 0);
    });
    stage.addEventListener("pointermove", (event) => {
      if (stage.hasPointerCapture(event.pointerId)) by(-0.5 * event.movementX, 0.5 * event.movementY);
    });
    stage.addEventListener("wheel", (event) => {
      if (document.activeElement !== stage) return;
      event.preventDefault();
      by(0, 0, Math.exp(-0.0015 * event.deltaY));
    }, { passive: false });
    stage.addEventListener("dblclick", () => Object.assign(camera, start));
    stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10],
        "+": [0, 0, 1.2], "-": [0, 0, 1 / 1.2] }[event.key];
      if (!step) return;
      event.preventDefault();
      by(...step);
    });
  }

  let last = performance.now(), alive = true, slow = 0;
  screen.addEventListener("webglcontextlost", () => {
    alive = false;
    for (const v of viewers) v.figure.classList.remove("live");
  });
  requestAnimationFrame(function frame(now) {
    const seconds = Math.min(now - last, 100) / 1000;
    last = now;
    const cameras = new Set([...seen].map((v) => v.camera));
    slow = seconds > 0.07 ? slow + 1 : 0;  // a machine that cannot keep up is spared the turntables
    if (slow > 12) for (const v of viewers) v.camera.spinning = false;
    for (const c of cameras) if (c.spinning) { c.azimuth += SPIN_DEG_PER_S * seconds; c.moved = true; }
    for (const v of seen) if (v.parts && v.camera.moved) draw(v);
    for (const c of cameras) c.moved = false;
    if (alive) requestAnimationFrame(frame);
  });

  for (const wipe of document.querySelectorAll(".wipe input"))
    wipe.addEventListener("input", () => wipe.closest(".wipe").style.setProperty("--cut", wipe.value + "%"));

  for (const link of document.querySelectorAll("a[data-model]"))
    link.addEventListener("click", () => {
      if (link.href.startsWith("blob:")) return;
      link.href = URL.createObjectURL(new Blob([bytesOf(link.dataset.model)], { type: "model/gltf-binary" }));
    });
  document.documentElement.classList.add("scripted");
})();
