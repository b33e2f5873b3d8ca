"""What a face shows beside its emotion: hands and objects, text, drawings, closed eyes, blur; labels, probe and figures."""
