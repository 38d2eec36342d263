import mri from 'mri';
import colors from 'picocolors';

const { name } = mri(process.argv.slice(2), { default: { name: 'Ozymandias' } });
console.log(`My name is ${colors.bold(name)}, King of Kings (@year@)`);
console.log(`as ${process.getuid()} in ${process.cwd()}, for ${process.env.NODE_ENV}`);
