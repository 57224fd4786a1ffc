#version 330 core
in vec3 world_normal;
out vec4 frag_color;
void main() {
    vec3 n = normalize(world_normal);
    frag_color = vec4((gl_FrontFacing ? n : -n) * 0.5 + 0.5, 1.0);
}
